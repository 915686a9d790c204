"""Up to how many parameters the dense Hessian is taken, in how much memory, and what counts as rounding.

| name | what it limits |
|---|---|
| `DENSE_SPECTRUM` | parameters up to which a verdict, a density or an escape takes all eigenvalues by default |
| `DENSE_STEP` | parameters up to which the trust region of `sr1_trust_region` starts from the dense Hessian |
| `DENSE_TRAJECTORY` | parameters up to which a recorded run takes all eigenvalues at every step |
| `MATRIX_MEMORY`, `BASIS_MEMORY` | bytes of a dense spectrum, and of a Lanczos basis |
| `CURVATURE_ROUNDING` | an eigenvalue below this many eps |H| has no sign |
| `LOSS_ROUNDING` | a predicted decrease below this many eps |loss| cannot be seen in the loss |
| `VISIBLE_DECREASE` | a decrease of this many eps |loss| is certainly seen: `steps.acceptance.smallest_visible_step` |
"""

DENSE_SPECTRUM = 1024
DENSE_STEP = 512
DENSE_TRAJECTORY = 64
MATRIX_MEMORY = 8 * 2**30
BASIS_MEMORY = 2 * 2**30
CURVATURE_ROUNDING = 50  # measured errors of Hessians stay below 14
LOSS_ROUNDING = 10
VISIBLE_DECREASE = 64
