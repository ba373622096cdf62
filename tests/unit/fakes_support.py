"""One service and two instances for tests of the fakes."""

from __future__ import annotations

from hitless.rollout.spec import Address, DrainSpec, HealthSpec, InstanceId, RunSpec, ServiceSpec, TrafficSpec, Version
from hitless.rollout.world import EndpointState

V1, V2 = Version("v1"), Version("v2")
A, B = InstanceId("a"), InstanceId("b")
ACTIVE, DRAINING = EndpointState.ACTIVE, EndpointState.DRAINING
SHOP = ServiceSpec(
    name="shop",
    instances=1,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    health=HealthSpec(start_deadline_s=60),
    drain=DrainSpec(requests_s=30, streams_s=600),
)
