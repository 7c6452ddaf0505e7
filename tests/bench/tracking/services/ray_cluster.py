"""A Ray cluster of several nodes on one machine; the test that started it says what becomes of them.

    python ray_cluster.py '{"num_cpus": 1}' '{"num_cpus": 1, "num_gpus": 2}'

The first node is the head. Each line of standard input is an order, answered by a line of standard output:
`remove 1` has node 1 die, `add {...}` brings another. GPUs are a figure that Ray counts; none is used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click


def patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a node 30 s to start, which a machine that is busy with other things may not do."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            click.echo(f"once again: {error}", err=True)
    return start()


def main() -> None:
    from ray.cluster_utils import Cluster

    head, *others = map(json.loads, sys.argv[1:])
    head |= {"include_dashboard": False}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    nodes = [cluster.head_node]
    for options in others:
        nodes.append(patiently(partial(cluster.add_node, **options)))
    click.echo(f"address {cluster.address}")
    for line in sys.stdin:
        order, argument = line.split(" ", 1)
        if order == "remove":
            cluster.remove_node(nodes[int(argument)], allow_graceful=False)
        else:
            nodes.append(patiently(partial(cluster.add_node, **json.loads(argument))))
        click.echo("done")
    cluster.shutdown()


if __name__ == "__main__":
    main()
