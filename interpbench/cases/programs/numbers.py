"""Cases that change each number by itself."""

from __future__ import annotations

import math
from typing import Any

from interpbench.cases.rasp.define import elementwise, rasp_case
from interpbench.cases.rasp.pieces import constant

DIGITS, SIGNED, UP_TO_29, AROUND_0 = range(11), range(-10, 10), range(30), range(-15, 15)
TWENTIETHS = tuple(i / 10 - 1 for i in range(20))
FIBONACCI = [0, 1]
while len(FIBONACCI) < 21:
    FIBONACCI.append(FIBONACCI[-1] + FIBONACCI[-2])


def is_prime(x: int) -> bool:
    """Whether `x` is prime."""
    return x > 1 and all(x % d for d in range(2, math.isqrt(x) + 1))


@elementwise("8", DIGITS)
def identity(x: int) -> int:
    """Each number as it is."""
    return x


@rasp_case("40", vocab=range(29), max_length=9, causal=True)
def digit_sum(rasp: Any) -> Any:
    """Sum of the two decimal digits of each number."""
    tens, ones = rasp.Map(lambda x: x // 10, rasp.tokens), rasp.Map(lambda x: x % 10, rasp.tokens)
    return rasp.SequenceMap(lambda x, y: x + y, tens, ones)


@elementwise("41", SIGNED)
def absolute(x: int) -> int:
    """Absolute value of each number."""
    return abs(x)


@elementwise("43", range(20))
def fibonacci(x: int) -> int:
    """The Fibonacci number of that index (0, 1, 1, 2, ...)."""
    return FIBONACCI[x] if x < len(FIBONACCI) else 0


@elementwise("46", DIGITS)
def decrement(x: int) -> int:
    """Each number minus 1."""
    return x - 1


@elementwise("49", DIGITS)
def down_to_multiple_of_3(x: int) -> int:
    """The largest multiple of 3 that is not greater."""
    return x - x % 3


@elementwise("50", DIGITS)
def hyperbolic_cosine(x: int) -> float:
    """Hyperbolic cosine."""
    return math.cosh(x)


@elementwise("51", range(100))
def is_fibonacci(x: int) -> int:
    """1 if the number is a Fibonacci number, else 0."""
    return int(x in FIBONACCI)


@elementwise("52", DIGITS)
def square_root(x: int) -> float:
    """Square root."""
    return math.sqrt(x)


@elementwise("54", DIGITS)
def hyperbolic_tangent(x: int) -> float:
    """Hyperbolic tangent."""
    return math.tanh(x)


@elementwise("55", DIGITS)
def hyperbolic_sine(x: int) -> float:
    """Hyperbolic sine."""
    return math.sinh(x)


@elementwise("60", DIGITS)
def increment(x: int) -> int:
    """Each number plus 1."""
    return x + 1


@elementwise("62", DIGITS)
def factorial(x: int) -> int:
    """Factorial."""
    return math.factorial(x)


@elementwise("64", DIGITS)
def cube(x: int) -> int:
    """Third power."""
    return x**3


@elementwise("65", DIGITS)
def cube_root(x: int) -> float:
    """Real cube root, with the sign of the number."""
    return math.copysign(abs(x) ** (1 / 3), x)


@rasp_case("66", vocab=[i / 4 for i in range(20)], max_length=9, causal=True)
def to_nearest(rasp: Any) -> Any:
    """The nearest whole number; halves go up."""
    return rasp.Map(int, rasp.Map(lambda x: x + 0.5, rasp.tokens))


@elementwise("68", DIGITS)
def up_to_multiple_of_3(x: int) -> int:
    """The smallest multiple of 3 that is not less."""
    return x + (3 - x % 3) % 3


@elementwise("69", DIGITS)
def sign(x: int) -> int:
    """Sign of each number: -1, 0 or 1."""
    return (x > 0) - (x < 0)


@elementwise("70", DIGITS)
def cosine(x: int) -> float:
    """Cosine (radians)."""
    return math.cos(x)


@elementwise("72", SIGNED)
def negative(x: int) -> int:
    """Each number with the other sign."""
    return -x


@elementwise("73", DIGITS)
def sine(x: int) -> float:
    """Sine (radians)."""
    return math.sin(x)


@elementwise("75", DIGITS)
def double(x: int) -> int:
    """Twice each number."""
    return 2 * x


@elementwise("77", DIGITS)
def tangent(x: int) -> float:
    """Tangent (radians)."""
    return math.tan(x)


@elementwise("79", DIGITS)
def prime(x: int) -> int:
    """1 if the number is prime, else 0."""
    return int(is_prime(x))


@elementwise("80", DIGITS)
def minus_2(x: int) -> int:
    """Each number minus 2."""
    return x - 2


@elementwise("83", DIGITS)
def triple(x: int) -> int:
    """Three times each number."""
    return 3 * x


@elementwise("84", DIGITS)
def arctangent(x: int) -> float:
    """Arctangent."""
    return math.atan(x)


@elementwise("85", DIGITS)
def square(x: int) -> int:
    """Second power."""
    return x**2


@elementwise("86", DIGITS)
def power_of_2(x: int) -> int:
    """1 if the number is a power of 2 greater than 1, else 0 (the published program does not count 1)."""
    return int(x > 1 and x & (x - 1) == 0)


@rasp_case("87", vocab=DIGITS, max_length=9, causal=True)
def binarize(rasp: Any) -> Any:
    """1 if the number is at least 3, else 0."""
    return rasp.Map(lambda x: 1 if x else 0, rasp.Map(lambda x: x >= 3, rasp.tokens))


@elementwise("91", DIGITS)
def at_least_3(x: int) -> int:
    """Each number, or 0 if it is less than 3."""
    return 0 if x < 3 else x


@elementwise("95", UP_TO_29)
def prime_factors(x: int) -> int:
    """How many different primes divide the number (none for 0 and 1)."""
    return sum(is_prime(d) and x % d == 0 for d in range(2, x + 1))


@elementwise("101", UP_TO_29)
def is_square(x: int) -> int:
    """1 if the number is the square of a whole number, else 0."""
    return int(math.isqrt(x) ** 2 == x)


@elementwise("102", range(-20, 20))
def reflect(x: int) -> int:
    """The number reflected at 2 and at 7 until it lies between them."""
    if 2 < x < 7:
        return x
    below = x <= 2
    bounces, rest = divmod(2 - x if below else x - 7, 5)
    return 2 + rest if bounces % 2 != below else 7 - rest


@elementwise("104", DIGITS)
def exponential(x: int) -> float:
    """Exponential of each number."""
    return math.exp(x)


@elementwise("105", UP_TO_29)
def next_prime(x: int) -> int:
    """The smallest prime that is not less than the number."""
    return next(p for p in range(x, 2 * x + 3) if is_prime(p))


@elementwise("107", AROUND_0)
def wrap(x: int) -> int:
    """The number wrapped round into 2, ..., 6."""
    return (x - 2) % 5 + 2


@elementwise("114", range(1, 11))
def logarithm(x: int) -> float:
    """Logarithm to base 10."""
    return math.log(x, 10)


@elementwise("121", TWENTIETHS)
def arcsine(x: float) -> float:
    """Arcsine."""
    return math.asin(x)


@elementwise("122", UP_TO_29)
def divisible_by_3(x: int) -> int:
    """1 if the number is divisible by 3, else 0."""
    return int(x % 3 == 0)


@elementwise("123", TWENTIETHS)
def arccosine(x: float) -> float:
    """Arccosine."""
    return math.acos(x)


@rasp_case("130", vocab=AROUND_0, max_length=9, causal=True)
def clip(rasp: Any) -> Any:
    """The number, or the nearer of 2 and 7 if it does not lie between them."""
    low, high = constant(rasp, 2, rasp.tokens), constant(rasp, 7, rasp.tokens)
    at_least = rasp.SequenceMap(lambda x, y: y if x < 2 else x, rasp.tokens, low)
    return rasp.SequenceMap(lambda x, y: y if x > 7 else x, at_least, high)
