import numpy as np, time, torch
from interpbench.properties.planted import PROPERTIES
from interpbench.cases.flow import flow_case
from interpbench.cases.flow_reference import FlowReference, evaluate, votes
for p in PROPERTIES:
    for l in (1,2,3):
        t=time.time(); f=p.make(l,np.random.default_rng([0,l]))
        c=flow_case(f"{p.name}-{l}-0","x",lambda: f); r=c.reference()
        clean,src=c.pairs(200,0)
        out=r.outputs(torch.tensor(clean)).numpy()
        exp=[c.expected(x) for x in c.decode(clean)]
        got=out[:,1:].argmax(-1) if f.numbers is None else out[:,1:,0]
        ok=np.allclose(np.array(exp),got)
        ans=np.array(exp).ravel(); share=max(np.mean(ans==v) for v in np.unique(ans))
        ch={}
        for i,n in enumerate(r.variables):
            o=r.outputs(torch.tensor(clean),torch.tensor(src),torch.full((200,),i)).numpy()[:,1:]
            g=o.argmax(-1) if f.numbers is None else o[...,0]
            ch[n]=round(float((abs(g-got)>.05).mean()),2)
        print(p.name,l,ok,f"{time.time()-t:.2f}s","top",round(share,2),"edges",len(f.edges),"of",len(r.subject_config.graph.edges),"layers",f.shape['n_layers'],ch)
