"""How many sample units a wanted precision takes."""

import math
from collections.abc import Sequence

from orthostat.errors import SampleError


def required_sample_size(
    weights: Sequence[float], users_accuracies: Sequence[float], target_se: float
) -> int:
    """Units needed for a standard error of the overall accuracy, strata being map classes.

    n = (sum of W_i S_i / SE)^2 with S_i = sqrt(U_i (1 - U_i)); Cochran (1977) eq. 5.25 for a large
    population, as in Olofsson et al. (2014) eq. 13. `weights` are the classes' shares of the area.
    Raises SampleError when a value is out of its range.
    """
    if len(weights) != len(users_accuracies) or not math.isclose(math.fsum(weights), 1, abs_tol=1e-6):
        raise SampleError(
            f"{len(weights)} weights with the sum {math.fsum(weights):.6f}, {len(users_accuracies)} user's "
            "accuracies; give one of each per class, weights with the sum 1"
        )
    if target_se <= 0 or any(not 0 <= share <= 1 for share in (*weights, *users_accuracies)):
        raise SampleError(
            f"weights {list(weights)}, user's accuracies {list(users_accuracies)}, target standard error "
            f"{target_se}; give shares from 0 to 1 and a target above 0"
        )
    deviation = math.fsum(w * math.sqrt(u * (1 - u)) for w, u in zip(weights, users_accuracies, strict=True))
    return math.ceil(round((deviation / target_se) ** 2, 9))
