"""A marketplace: one payment, as many packages as there are sellers, and all of them arrive or none does.

Four services, each in a folder of its own with its rows in a database file; `events` is the only thing they share.
`checkout` owns the saga. Run all of them with `choreo run services.marketplace`.

The way of a checkout, each arrow an event; a bar stands for what happens once a seller, in a branch of its own::

      CheckoutPlaced ── billing.authorise ─► PaymentAuthorised
      checkout.split ─► list[SellerOrderPlaced]
    │   SellerOrderPlaced ── sellers.accept ─► PackageAccepted
    │   PackageAccepted ── delivery.carry ─► PackagePickedUp, PackageDelivered
      list[PackageDelivered] ── checkout.complete ─► CheckoutCompleted

`PaymentRefused` ends it at once. `PackageRefused` or `PackageLost` of any seller undoes everything, in reverse::

    │   PackageRefused or PackageLost, in whichever branch ── delivery.take_back ─► PackageReturned
    │   PackageReturned ── sellers.cancel ─► PackageCancelled
      list[PackageCancelled | PackageRefused] ── checkout.abandon ─► CheckoutAbandoned
      CheckoutAbandoned ── billing.void ─► PaymentVoided
      PaymentVoided ── checkout.fail ─► CheckoutFailed

A failure counts in the whole saga, so it reaches `take_back` in every branch; all the rest of the undoing follows from
what was undone before it. `PackageReturned` counts in its own branch, and each branch whose package was accepted has
exactly one: the package is brought back, or will not be picked up. So no seller takes a package back into stock that is
still on the road, and no payment is voided while a package is.

That holds in the branch of the loss, too, because `carry` says two things: `PackagePickedUp`, which is undone, and what
became of it. Were the loss all it said, nothing would be undone there, and `cancel` would have to name the loss as a
cause; but a loss is a failure, so it would cancel the packages of all other sellers while they are on the road.

`CheckoutAbandoned` is a failure of the owner's own. Only a failure or an undoing sets an undoing going, and the voiding
has to wait for all the packages, not for the first: the fan-in waits, and makes one failure of them.
"""
