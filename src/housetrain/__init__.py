"""housetrain: from a folder of labelled pictures to an image classifier you can trust."""
