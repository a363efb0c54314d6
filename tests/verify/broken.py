"""A trip that leaves a flight behind where its commit was lost, as a module to name on the command line."""

from tests.verify.trips import trip

trips, flights, hotels = trip(without={"null"})
