import numpy as np, time, collections
from interpbench.properties.planted import PROPERTIES
from interpbench.properties.accept import rejected
for p in PROPERTIES:
    for l in (1,2,3):
        t=time.time(); R=collections.Counter(rejected(p.make(l,np.random.default_rng([s,l]))) for s in range(6))
        print(p.name,l,dict(R),f"{(time.time()-t)/6:.2f}s")
