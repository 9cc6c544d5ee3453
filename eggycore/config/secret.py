"""A value that is only shown to who asks for it by name."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

__all__ = ["MASK", "Secret"]

T_co = TypeVar("T_co", covariant=True)

MASK = "******"
"""What is shown in place of every secret, whatever its length."""


class Secret(Generic[T_co]):
    """A value that repr, str, format, JSON and pickle never show.

    Immutable and hashable; equal to a `Secret` of an equal value, and false when its value is.

    Example:
        >>> token = Secret("s3cret")
        >>> print(token, f"{token:>8}", token.reveal())
        ******   ****** s3cret
    """

    __slots__ = ("__value",)

    def __init__(self, value: T_co) -> None:
        object.__setattr__(self, "_Secret__value", value)

    __value: T_co

    def reveal(self) -> T_co:
        """The value itself. Never log it and never put it in a message."""
        return self.__value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return bool(self.__value == other.reveal()) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret does not change")

    def __copy__(self) -> Secret[T_co]:
        return self

    def __deepcopy__(self, memo: object) -> Secret[T_co]:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: send its source, not its value")
