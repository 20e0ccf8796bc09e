"""Updates of the hosts of the back end itself by signed releases, one node after the other (R133, R135, R137).

In a cluster, which image a node may install: `work.py`.
"""
