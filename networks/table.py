"""A network as a table: layers, parameters, shapes."""

from torch import nn


def network_table(network: nn.Module, title: str) -> str:
    """Return one line for each layer that holds parameters, and their sum."""
    rows = []
    for name, module in network.named_modules():
        own = list(module.named_parameters(recurse=False))
        if own:
            shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in own)
            rows.append((name or "(top)", sum(value.numel() for _, value in own), shapes))
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{width}}  {count:>12,}  {shapes}" for name, count, shapes in rows]
    total = f"{'total':<{width}}  {sum(count for _, count, _ in rows):>12,}"
    return "\n".join(["", title, *lines, total])
