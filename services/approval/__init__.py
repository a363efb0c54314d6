"""An approval workflow: people decide, days pass, and a saga waits for them.

Two services, each in a folder of its own; `events` is the only thing they share. `approvals` owns the saga and keeps
the time, `mailroom` tells people. Run both with `choreo run services.approval`.

The way of a request; what comes from outside comes by `choreo publish`::

    ApprovalRequested ─┬─ a manager answers ───────────► RequestGranted, or RequestRejected ─► RequestDenied
                       │
                       ├─ a day without an answer ─────► ManagerReminded
                       │
                       └─ three days without one ──────► Escalated
                                                         ├─ a manager or a director answers ─► as above
                                                         └─ a week without an answer ─► RequestExpired ─► RequestDenied

An answer is an event, never a failure: whoever publishes it cannot know whether the request has been decided or has
expired meanwhile. The owner knows, and turns the first answer into `RequestGranted` or into the failure
`RequestRejected`; a later one changes nothing. Nothing is undone here, for nothing is done before the end.
"""
