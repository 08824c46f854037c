"""loky's ProcessPoolExecutor, as joblib and scikit-learn use it."""

import loky

TITLE = "loky executor"
CLAIMS = "robust: workers end when the executor's parent is gone"
NEEDS = ["loky"]
executors = []


def start(count, child):
    executor = loky.ProcessPoolExecutor(count)
    executors.append(executor)
    for _ in range(count):
        executor.submit(child.target)
    return []
