"""The study of studies: tasks in their order, here or on Ray, and what they will cost."""
