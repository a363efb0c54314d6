"""Ten choreographies that are right: in every order of delivery, with duplicates and crashes.

Each module has one, made of plain services whose effects are kept in a `Ledger`; `mutants` breaks them. Tests, the
model checker and simulations are run over `CHOREOGRAPHIES`.
"""

from tests.choreographies import (
    checkout,
    claim,
    delivery,
    hotel,
    loan,
    purchase,
    transfer,
    translation,
    trial,
    trip,
)
from tests.choreographies.piece import Piece

CHOREOGRAPHIES = {
    each.__name__.rpartition(".")[2]: Piece(each.SERVICES, each.STARTS, each.WAYS)
    for each in (trip, purchase, transfer, checkout, claim, trial, loan, delivery, translation, hotel)
}
