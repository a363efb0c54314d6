"""What handlers ask for by type: opened once a service or once a step, closed in reverse.

Opening and closing of provided resources live here; reading the providers from type hints does not (`service`). The
engine opens the service's resources before the first batch and one step's around each attempt.
"""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from choreo.service import Provider


class Resources:
    """A service's resources.

    Args:
        providers: In dependency order.
        replaced: Instances that stand in for a provider's, which then never runs (tests).
    """

    def __init__(self, providers: Sequence[Provider], replaced: Mapping[type, object] | None = None) -> None:
        self._providers = providers
        self._replaced = dict(replaced or {})
        self._stack = AsyncExitStack()
        self._open: dict[type, Any] = {}
        self._per_step = [each for each in providers if each.per == "step" and each.type not in self._replaced]

    async def open(self) -> None:
        """Open everything that lives as long as the service.

        Raises:
            Exception: What a provider raised; what was open already is closed again.
        """
        self._open.update(self._replaced)
        try:
            for provider in self._providers:
                if provider.per == "service" and provider.type not in self._replaced:
                    self._open[provider.type] = await _enter(self._stack, provider, self._open)
        except BaseException:
            await self._stack.aclose()
            raise

    async def close(self) -> None:
        """Close what `open` opened, in reverse."""
        await self._stack.aclose()

    def get(self, kind: type) -> object:
        """Return an open resource of the service."""
        return self._open[kind]

    def lives_a_step(self, kind: type) -> bool:
        """Return whether this resource is opened anew for every step."""
        return any(each.type is kind for each in self._per_step)

    async def for_step(self, stack: AsyncExitStack) -> dict[type, Any]:
        """Open what lives one step on `stack` and return it beside the service's own."""
        found = dict(self._open)
        for provider in self._per_step:
            found[provider.type] = await _enter(stack, provider, found)
        return found


async def _enter(stack: AsyncExitStack, provider: Provider, found: Mapping[type, Any]) -> object:
    """Open one resource; a generator is closed with the stack, and what was raised meanwhile is thrown into it."""
    needs = [found[need] for need in provider.requires]
    if inspect.isasyncgenfunction(provider.function):
        return await stack.enter_async_context(asynccontextmanager(provider.function)(*needs))
    if inspect.isgeneratorfunction(provider.function):
        return stack.enter_context(contextmanager(provider.function)(*needs))
    made = provider.function(*needs)
    return await made if inspect.isawaitable(made) else made
