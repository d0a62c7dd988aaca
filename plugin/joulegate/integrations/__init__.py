"""Other tools, one small module each; every import of a third party is inside the module that is named after it."""
