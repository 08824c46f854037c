"""loky's ProcessPoolExecutor, as joblib and scikit-learn use it."""

import loky

TITLE = "loky executor"
CLAIMS = "a “robust” executor; of a parent that dies it says nothing"
NEEDS = ["loky"]
executors = []


def start(count, child):
    executor = loky.ProcessPoolExecutor(count)
    executors.append(executor)
    for _ in range(count):
        executor.submit(child.target)
    return []
