"""Steps: second-order steps in the Hessian's eigenbasis and in Krylov spaces."""
