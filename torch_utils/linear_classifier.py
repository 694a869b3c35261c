"""Linear classifier: multinomial logistic regression, fitted to convergence."""

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 200  # most steps of L-BFGS, which stops earlier when it has converged


class LinearClassifier:
    """Class scores that are linear in the standardised features.

    Args:
        features: training features, float `[N, D]`.
        labels: class numbers, int64 `[N]` in 0..classes - 1.
        classes: number of classes.
        penalty: weight of the squared coefficients in the mean loss.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int, penalty: float = 1e-3):
        self.mean = features.mean(0)  # [D]
        self.std = features.std(0).clamp(min=1e-8)  # [D]
        self.weight = torch.zeros(classes, features.shape[1], requires_grad=True)
        self.bias = torch.zeros(classes, requires_grad=True)
        parameters = [self.weight, self.bias]
        optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            value = F.cross_entropy(self.scores(features), labels) + penalty * self.weight.square().sum()
            gradients = torch.autograd.grad(value, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            return value

        optimizer.step(loss)

    def scores(self, features: Tensor) -> Tensor:
        """Return class scores `[N, classes]`."""
        return (features - self.mean) / self.std @ self.weight.T + self.bias

    def normals(self) -> Tensor:
        """Return the gradients of the class scores with respect to the features, `[classes, D]`."""
        return (self.weight / self.std).detach()

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Return the fraction of rows whose highest score is that of their label."""
        with torch.no_grad():
            return (self.scores(features).argmax(1) == labels).float().mean().item()
