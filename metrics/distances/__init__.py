"""Distances and similarities as pure functions of features or pixels: FID, KID, IS, PR, PPL, PSNR, SSIM, faces."""
