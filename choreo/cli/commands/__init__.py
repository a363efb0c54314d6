"""The commands, one module each, called as the command is: arguments, and what is printed.

The root command imports a module when its command runs. What a command does lives in the packages that it calls, and
what several commands share, in `choreo.cli`.
"""
