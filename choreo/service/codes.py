"""Every code that a mistake in a declaration can have.

The codes and their titles live here, one line each; finding the mistakes does not. docs/errors has a page for each,
and the modules beside this one name them.
"""

from types import MappingProxyType

CODES = MappingProxyType(
    {
        # One function.
        "CH001": "A handler has no return hint",
        "CH002": "A parameter has no type hint",
        "CH003": "A type hint cannot be resolved",
        "CH004": "A parameter asks for something that nobody provides",
        "CH005": "A handler takes no event",
        "CH006": "A handler returns something that is no event",
        "CH007": "An event class has no topic",
        "CH008": "A parameter cannot be passed by position",
        "CH009": "A parameter mixes events with something else",
        "CH010": "An event parameter may be None where it never is",
        "CH011": "Two parameters of a join take the same event",
        "CH013": "What is decorated is not a function",
        "CH014": "A generator and its return hint do not fit",
        "CH015": "A handler's name cannot be used",
        "CH016": "unless names something that is no event",
        "CH017": "timeout_s is not a time",
        "CH018": "thread=True on an asynchronous handler",
        # One service.
        "CH020": "A service's name cannot be used",
        "CH021": "Two handlers have one name",
        "CH022": "A service has two State classes",
        "CH023": "A State field has no default",
        "CH024": "An event's topic is one of choreo's own",
        "CH025": "A service publishes something that is no event",
        "CH026": "An event that ends a saga is published from outside",
        # Compensations and what stands in for a step.
        "CH030": "A compensation takes no cause or no original",
        "CH031": "A compensation takes several originals",
        "CH032": "An original is not an event of its service",
        "CH033": "An original is a compensation's own event",
        "CH034": "An optional original has not exactly one handler that emits it",
        "CH035": "A compensation is caused by what it undoes or emits",
        "CH036": "unless stands on a handler with a compensation",
        "CH037": "otherwise names no handler of its service",
        "CH038": "An otherwise takes something that its handler does not",
        "CH039": "A deadline cannot be understood",
        # Sagas.
        "CH040": "A saga starts, completes or fails with something that is no event",
        "CH041": "A saga has no completes",
        "CH042": "A saga's key is no field of its start",
        "CH043": "An event starts two saga types",
        "CH044": "A saga type is declared twice",
        "CH045": "An event that ends a saga is emitted by a service that does not own it",
        "CH046": "A saga's name cannot be used",
        "CH047": "An event means two things to one saga",
        # Resources.
        "CH050": "A provider does not say what it provides",
        "CH051": "Two providers provide one type",
        "CH052": "Providers ask for each other in a circle",
        "CH053": "A provider asks for something that nobody provides",
        "CH054": "A resource of the service asks for one of a step",
        "CH055": "per= is neither service nor step",
        # Several services.
        "CH060": "Two services have one name",
        "CH061": "Two event classes have one type name",
    }
)
"""Code → title."""
