"""What `torch_cluster` and `torch_spline_conv` compute: near points, clusters, splines."""
