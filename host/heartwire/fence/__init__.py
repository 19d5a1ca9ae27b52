"""fence_heartwire: the board as a fence device of Pacemaker, and of all that speak ClusterLabs' agent API."""
