"""Errors whose text is meant for the person who can mend them."""


class InputError(ValueError):
    """A file, argument or setting is wrong; the text names the field, the value and the remedy."""


class BundleError(InputError):
    """A model bundle is damaged, of another schema, or does not fit its own description."""
