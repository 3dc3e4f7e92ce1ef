"""The studio: the whole job on a web page.

In: run folders, prepared folders, folders of images; clicks. Out: `Recipe`s, and `housetrain` commands started as
processes of their own. It decides nothing about images or models, and never imports Keras: what it shows it reads
from the files that those commands write, so that it shows a training that a terminal started just as well.

    housetrain studio PetImages
"""
