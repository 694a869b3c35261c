"""Passes as CUDA graphs, one for the forward pass and one for its derivative.

A step of these networks is thousands of short kernels. Below some batch size the host takes longer to start them than
the GPU to run them; a graph is started as one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

WARM_UPS = 3  # passes before a recording, in which kernels are compiled and algorithms are chosen

Replay = Callable[[], None]
Capture = Callable[[Callable[[], Any], Sequence[torch.Generator]], tuple[Replay, Any]]


class GraphedPass:
    """A function of tensors that is recorded at its first call with each kind of arguments, and replayed from then on.

    Results with a derivative live in memory that the next call of their kind writes to, those without for as long as
    they are needed.

    Args:
        function: takes and returns trees of tensors and constants (lists, tuples, named tuples); draws nothing, and
            does not make the host wait.
        network: network whose parameters it uses; their values may change, their memory may not.
    """

    def __init__(self, function: Callable[..., Any], network: nn.Module):
        self.function = function
        self.network = network
        self.parameters = list(network.parameters())
        self._recordings: dict[tuple, Recording] = {}

    def __call__(self, *arguments: Any) -> Any:
        structure, tensors = split(arguments)
        with_derivative = torch.is_grad_enabled()
        kinds = tuple((tensor.shape, tensor.dtype, tensor.requires_grad) for tensor in tensors)
        trained = tuple(parameter.requires_grad for parameter in self.parameters)
        key = (structure.key, with_derivative, kinds, trained)
        if key not in self._recordings:
            self._recordings[key] = Recording(self.function, structure, tensors, self.network)
        return self._recordings[key].run(tensors)


@dataclass(frozen=True)
class Structure:
    """A tree of tensors and constants without its tensors.

    Attributes:
        tree: shape of the structure.
        constants: one entry a leaf: None where it is a tensor, else a tuple with the constant.
    """

    tree: TreeSpec
    constants: tuple[tuple[Any] | None, ...]

    @property
    def key(self) -> tuple:
        """What is the same for equal structures."""
        return repr(self.tree), self.constants

    def fill(self, tensors: list[Tensor]) -> Any:
        """Return the tree with these tensors."""
        remaining = iter(tensors)
        leaves = [next(remaining) if constant is None else constant[0] for constant in self.constants]
        return tree_unflatten(leaves, self.tree)


def split(value: Any) -> tuple[Structure, list[Tensor]]:
    """Return the structure of a tree and its tensors."""
    leaves, tree = tree_flatten(value)
    constants = tuple(None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves)
    return Structure(tree, constants), [leaf for leaf in leaves if isinstance(leaf, Tensor)]


class Recording:
    """One recorded call: its memory, and what replays it and its derivative."""

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Structure,
        tensors: list[Tensor],
        network: nn.Module,
    ):
        self.inputs = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in tensors]
        filled = arguments.fill(self.inputs)
        self.parameters = list(network.parameters())
        aliases = {own: nn.Parameter(own.detach(), own.requires_grad) for own in self.parameters}
        self.call = lambda: _with_parameters(network, aliases, lambda: function(*filled))
        everything = [*self.inputs, *aliases.values()] if torch.is_grad_enabled() else []
        self.sources = [tensor for tensor in everything if tensor.requires_grad]
        device = self.inputs[0].device
        for _ in range(WARM_UPS):
            beside(device, self._try)
        capture = capture_on(device)
        self.replay_forward, result = capture(self.call, [])
        self.results, outputs = split(result)
        self.handed_through = [_place(output, self.inputs) for output in outputs]
        self.is_derived = [output.grad_fn is not None for output in outputs]
        derived = _derived(outputs)
        self.output_gradients = [torch.ones_like(output) for output in derived]
        self.replay_backward: Replay | None = None
        self.gradients: tuple[Tensor | None, ...] = ()
        if derived and self.sources:
            self.replay_backward, self.gradients = capture(lambda: self._gradients(derived), [])
        self.outputs = [output.detach() for output in outputs]
        self.derived = [output for output, is_derived in zip(self.outputs, self.is_derived, strict=True) if is_derived]
        self.is_source = [_place(tensor, self.sources) is not None for tensor in (*self.inputs, *aliases.values())]

    def run(self, tensors: list[Tensor]) -> Any:
        """Return the function's result for other tensors of the same kinds."""
        if self.replay_backward is None:
            self.forward(tensors)
            outputs = [output.detach().clone() for output in self.outputs]
        else:
            computed = iter(_Replay.apply(self, *tensors, *self.parameters))
            pairs = zip(self.outputs, self.is_derived, strict=True)
            outputs = [next(computed) if is_derived else output for output, is_derived in pairs]
        places = zip(outputs, self.handed_through, strict=True)
        return self.results.fill([output if place is None else tensors[place] for output, place in places])

    def forward(self, tensors: list[Tensor]) -> None:
        """Compute the outputs in place."""
        with torch.no_grad():
            torch._foreach_copy_(self.inputs, [tensor.detach() for tensor in tensors])
        self.replay_forward()

    def backward(self, output_gradients: tuple[Tensor, ...]) -> list[Tensor | None]:
        """Return the gradients of inputs and parameters, in memory of their own."""
        assert self.replay_backward is not None, "a pass with gradients has a recorded derivative"
        torch._foreach_copy_(self.output_gradients, list(output_gradients))
        self.replay_backward()
        kept = [gradient for gradient in self.gradients if gradient is not None]
        copies = iter(torch._foreach_mul(kept, 1.0))
        of_sources = iter([None if gradient is None else next(copies) for gradient in self.gradients])
        return [next(of_sources) if is_source else None for is_source in self.is_source]

    def _gradients(self, outputs: list[Tensor]) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(outputs, self.sources, self.output_gradients, allow_unused=True)

    def _try(self) -> None:
        """Do once, and drop, what is going to be recorded."""
        outputs = _derived(split(self.call())[1])
        if outputs and self.sources:
            ones = [torch.ones_like(output) for output in outputs]
            torch.autograd.grad(outputs, self.sources, ones, allow_unused=True)


class _Replay(torch.autograd.Function):
    """A recording with its derivative, for autograd."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.recording = recording
        recording.forward(list(tensors[: len(recording.inputs)]))
        return tuple(output.detach() for output in recording.derived)  # other tensors, which autograd may mark

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.recording.backward(output_gradients)


def _derived(outputs: list[Tensor]) -> list[Tensor]:
    """Return the outputs that have a derivative."""
    return [output for output in outputs if output.grad_fn is not None]


def _place(tensor: Tensor, tensors: list[Tensor]) -> int | None:
    """Return the place of this very tensor among others, or None."""
    return next((place for place, other in enumerate(tensors) if other is tensor), None)


def _with_parameters(network: nn.Module, aliases: dict[nn.Parameter, nn.Parameter], function: Callable[[], Any]) -> Any:
    """Return what a function computes while a network has other parameters with the same memory.

    Autograd binds a parameter to the stream of the pass that used it first, and a recording may not wait for another
    stream. So it has parameters that no other pass knows.
    """
    owners = [(module, name) for module in network.modules() for name in module._parameters]
    own = [module._parameters[name] for module, name in owners]
    try:
        for (module, name), parameter in zip(owners, own, strict=True):
            module._parameters[name] = None if parameter is None else aliases[parameter]
        return function()
    finally:
        for (module, name), parameter in zip(owners, own, strict=True):
            module._parameters[name] = parameter


def beside(device: torch.device, function: Callable[[], Any]) -> Any:
    """Return what a function computes beside the current stream, as recordings want it before they begin."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        result = function()
    torch.cuda.current_stream(device).wait_stream(stream)
    return result


def capture_on(device: torch.device) -> Capture:
    """Return a function that records work for a device; all that it records shares its memory.

    Each replay draws from the generators that it is given, as they are seeded at that time.
    """
    pool = torch.cuda.graph_pool_handle()

    def capture(function: Callable[[], Any], generators: Sequence[torch.Generator]) -> tuple[Replay, Any]:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # Other threads of this process copy images to the device meanwhile, which they may.
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = function()
        return graph.replay, result

    return capture
