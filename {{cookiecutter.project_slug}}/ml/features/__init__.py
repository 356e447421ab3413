"""The feature store: one definition of each feature, computed alike offline and online.

Today it holds row features, pure functions of one record. Windowed features, folds over events with a
point-in-time join and an online store, belong here beside them.
"""
