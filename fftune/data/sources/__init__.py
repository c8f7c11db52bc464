"""Sources of data sets: archives, folders of images, arrays, the digits, synthetic images."""
