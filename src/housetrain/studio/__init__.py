"""The studio: the whole workflow on a web page.

In: run folders, prepared folders, folders of images; clicks. Out: `Recipe`s, and `housetrain` commands started as
separate processes. It makes no decisions about images or models and never imports Keras: it shows what those commands
write to their files, so a training started in a terminal appears like any other.

    housetrain studio PetImages
"""
