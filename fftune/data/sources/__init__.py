"""Where data sets come from: archives, folders of images, the digits, synthetic images."""
