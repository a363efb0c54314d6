"""A lease whose deposit a person pays, perhaps when it has been refused already: an original from outside."""

from choreo import Event, Failure, Saga, Service


class LeaseAsked(Event, topic="leases"):
    key: str = "1"


class LeaseSigned(Event, topic="leases"):
    pass


class LeaseRefused(Event, topic="leases"):
    pass


class TenantTrusted(Event, topic="tenants"):
    pass


class TenantDoubted(Failure, topic="tenants"):
    pass


class DepositPaid(Event, topic="deposits"):
    pass


class DepositReturned(Event, topic="deposits"):
    pass


leases, tenants, deposits = Service("leases"), Service("tenants"), Service("deposits")
leases.owns(Saga("lease", starts=LeaseAsked, completes=LeaseSigned, fails=LeaseRefused, key="key"))
deposits.publishes(DepositPaid, by="a tenant")


@leases.handles
def sign(_trusted: TenantTrusted, _paid: DepositPaid) -> LeaseSigned:
    return LeaseSigned()


@leases.handles
def refuse(_cause: TenantDoubted, _returned: DepositReturned) -> LeaseRefused:
    return LeaseRefused()


@tenants.handles
def look(_asked: LeaseAsked) -> TenantTrusted | TenantDoubted:
    return TenantTrusted()


@deposits.compensates
def give_back(_cause: TenantDoubted, _paid: DepositPaid) -> DepositReturned:
    return DepositReturned()


DEPOSITS = (leases, tenants, deposits)
