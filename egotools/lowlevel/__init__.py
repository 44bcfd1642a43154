"""Color, brightness, contrast, blur and HOG of a frame."""
