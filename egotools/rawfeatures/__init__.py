"""What M3-S measures of pixels: contrast, brightness, blurriness, HOG; their PCA, and how frames become a clip's row.

Axes: T frames, H, W pixels, D features. Frames are uint8 RGB [T, H, W, 3].
"""
