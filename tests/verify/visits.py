"""A visit to a desk that opens a drawer and closes it: told in one go, in this order, to somebody who needs the order.

A drawer that is closed before it was opened is given up, and nobody is told of that. The desk itself looks at who comes
before it hears anything of the drawer.
"""

from choreo import Event, Saga, Service


class VisitorCame(Event, topic="visits"):
    key: str = "1"


class VisitorKnown(Event, topic="visits"):
    pass


class VisitDone(Event, topic="visits"):
    pass


class DrawerAsked(Event, topic="asked"):
    pass


class DrawerLeft(Event, topic="asked"):
    pass


class DrawerOpened(Event, topic="drawers"):
    pass


class DrawerGivenUp(Event, topic="drawers"):
    pass


class DrawerShut(Event, topic="drawers"):
    pass


desk, hall, drawers = Service("desk"), Service("hall"), Service("drawers")
desk.owns(Saga("visit", starts=VisitorCame, completes=VisitDone, key="key"))


@desk.handles(unless=DrawerOpened)
def look(_came: VisitorCame) -> VisitorKnown:
    return VisitorKnown()


@desk.handles
def finish(_known: VisitorKnown, _opened: DrawerOpened) -> VisitDone:
    return VisitDone()


@hall.handles
def ask(_came: VisitorCame) -> tuple[DrawerAsked, DrawerLeft]:
    return DrawerAsked(), DrawerLeft()


@drawers.handles
def open_it(_asked: DrawerAsked) -> DrawerOpened:
    return DrawerOpened()


@drawers.handles(unless=DrawerOpened)
def give_up(_left: DrawerLeft) -> DrawerGivenUp:
    return DrawerGivenUp()


@drawers.compensates
def shut(_cause: DrawerGivenUp, _opened: DrawerOpened | None) -> DrawerShut:
    return DrawerShut()


VISITS = (desk, hall, drawers)
