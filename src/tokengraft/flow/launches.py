"""Several processes of one launch: all but the first only join it where it trains."""

from __future__ import annotations

from tokengraft.events import Listen, ignore


def is_follower() -> bool:
    """Whether this process is one of several of a launch, and another one speaks for all."""
    from tokengraft.training import ranks

    return ranks.is_follower()


def follow(listen: Listen = ignore) -> bool:
    """Whether this process is one of several of a launch that only join the first where it trains.

    If so, it has done that when this returns.
    """
    from tokengraft.training import ranks

    if not is_follower():
        return False
    ranks.follow(listen)
    return True


def dismiss() -> None:
    """Let the other processes of a launch go."""
    from tokengraft.training import ranks

    ranks.dismiss()
