"""Spectra: eigenvalues of the Hessian with the matrix and without it, their density, trace and sharpness."""
