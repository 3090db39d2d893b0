"""The sizes of networks, as plain dataclasses, one file per family.

They are what config files hold (hence only int, float, bool, str and lists of int) and all a network needs to be
built. A network checks them with its params' ``check``; nothing here needs MindSpore.
"""
