"""A Kalman filter over many boxes at once: each moves with constant velocity, in seconds.

Center x, center y, width and height of a box are four independent coordinates, each with a
position, a velocity and their covariance (white noise acceleration, Bar-Shalom, Li, Kirubarajan:
"Estimation with Applications to Tracking and Navigation", 2001, section 6.2.2). The noise is
relative to the size of a box, so one setting fits near and far objects, and a step is as long as
the time between two frames: dropped frames change nothing but the uncertainty.
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

BOX_NOISE = 0.09
"""Standard deviation of each coordinate of a detector's box, in sizes of the box."""
FIRST_VELOCITY = np.array([[3.0, 3.0, 1.0, 1.0]])
"""Standard deviations of what an object that is new may do, in its sizes per second. A walker
covers one or two, a car on a far lane five."""
ACCELERATION = np.array([[2.0, 2.0, 0.7, 0.7]])
"""Intensity of the noise that changes the velocities, in sizes per second and root second."""


class BoxFilter:
    """The filter of many boxes, one row per object; the coordinates are cx, cy, w, h.

    Attributes:
        position: float64[N,4] in pixels.
        velocity: float64[N,4] in pixels per second.
    """

    def __init__(self) -> None:
        """No object."""
        self._state = np.empty((5, 0, 4))

    def __len__(self) -> int:
        return self._state.shape[1]

    @property
    def position(self) -> Doubles:
        """A view, valid until the next change."""
        position: Doubles = self._state[0]
        return position

    @property
    def velocity(self) -> Doubles:
        """A view, valid until the next change."""
        velocity: Doubles = self._state[1]
        return velocity

    def add(self, boxes: Doubles) -> None:
        """Append one object per box, float64[K,4]."""
        state = np.zeros((5, len(boxes), 4))
        sizes = _sizes(boxes)
        state[0] = boxes
        state[2] = (BOX_NOISE * sizes) ** 2
        state[4] = (FIRST_VELOCITY * sizes) ** 2
        self._state = np.concatenate((self._state, state), axis=1)

    def keep(self, rows: list[int]) -> None:
        """Keep these rows in this order, and forget the others."""
        self._state = self._state[:, rows]

    def predict(self, seconds: float) -> None:
        """Let time pass, at least 0."""
        position, velocity, pp, pv, vv = self._state
        noise = (ACCELERATION * _sizes(position)) ** 2 * seconds
        position += velocity * seconds
        np.maximum(position[:, 2:], 1.0, out=position[:, 2:])
        pp += (2.0 * pv + vv * seconds) * seconds + noise * (seconds * seconds / 3.0)
        pv += vv * seconds + noise * (seconds / 2.0)
        vv += noise

    def costs(self, boxes: Doubles, noise: Doubles) -> tuple[Doubles, Doubles]:
        """What speaks against each box being each object, rather than something new.

        Both parts together are -2 times the logarithm of a likelihood ratio, up to a constant: that
        of the box, given what is known of the object, to that of a new object, which may be
        anywhere and is as likely per area of a box of its size.

        Args:
            boxes: float64[M,4].
            noise: float64[M,1], standard deviations of their coordinates in pixels.

        Returns:
            float64[N,M] twice: the squared Mahalanobis distance, which is chi-squared with four
            degrees of freedom where they belong together; and the doubt, the logarithm of the
            determinant of its covariance as a multiple of that of the box's noise, which grows
            while an object is not seen and could be in more and more places.
        """
        position, _, pp, _, _ = self._state
        variance = (noise * noise)[:, 0]
        squared = np.zeros((len(self), len(boxes)))
        ratio = np.ones_like(squared)
        for axis in range(4):
            spread = pp[:, axis, None] + variance
            innovation = boxes[:, axis] - position[:, axis, None]
            squared += innovation * innovation / spread
            ratio *= spread / variance
        return squared, np.log(ratio)

    def update(self, rows: list[int], boxes: Doubles, noise: Doubles) -> None:
        """Take one box each for some objects.

        Args:
            rows: Of K objects, each at most once.
            boxes: float64[K,4].
            noise: float64[K,1], standard deviations in pixels.
        """
        position, velocity, pp, pv, vv = self._state[:, rows]
        innovation = boxes - position
        spread = pp + noise * noise
        gain, velocity_gain = pp / spread, pv / spread
        self._state[:, rows] = (
            position + gain * innovation,
            velocity + velocity_gain * innovation,
            pp - gain * pp,
            pv - gain * pv,
            vv - velocity_gain * pv,
        )


def _sizes(boxes: Doubles) -> Doubles:
    """float64[N,1]: the side of a square of the same area, at least a pixel."""
    return np.sqrt(np.maximum(boxes[:, 2:3] * boxes[:, 3:4], 1.0))
