"""The layers by name, each in a line: what help shows before PyTorch is imported."""

DESCRIPTIONS = {
    "gnn": "the textbook layer: W h + mean of W h_j",
    "gcn": "graph convolution, normalised by degrees (Kipf and Welling, 2017)",
    "graph": "W_1 h + W_2 sum of h_j (Morris et al., 2019)",
    "sage": "W_1 h + W_2 mean of h_j (Hamilton et al., 2017)",
    "gin": "MLP of a sum, as strong as the WL test (Xu et al., 2019)",
    "gine": "GIN with edge features (Hu et al., 2020)",
    "gat": "attention over neighbours (Veličković et al., 2018)",
    "gatv2": "attention that depends on who asks (Brody et al., 2022)",
    "transformer": "the Transformer's attention (Shi et al., 2021)",
    "rgcn": "a matrix per edge type (Schlichtkrull et al., 2018)",
    "edge": "maximum of an MLP of pairs (Wang et al., 2019)",
    "nn": "a matrix per edge, from its features (Gilmer et al., 2017)",
    "pna": "several aggregators and degree scalers (Corso et al., 2020)",
    "gated": "a GRU over steps of messages (Li et al., 2016)",
    "cheb": "Chebyshev polynomials of the Laplacian (Defferrard et al., 2016)",
    "appnp": "predict, then personalised PageRank (Gasteiger et al., 2019)",
    "sg": "GCN without nonlinearities (Wu et al., 2019)",
    "tag": "polynomials of the adjacency matrix (Du et al., 2017)",
    "mpnn": "the general layer, with edge updates (Gilmer et al., 2017)",
}
