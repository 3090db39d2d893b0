"""vgen: five text-to-video systems behind one command line, on MindSpore."""

__version__ = "0.1.0"
