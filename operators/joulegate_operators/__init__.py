"""What runs in a cluster beside the API: the node meter, and what keeps the API and the cluster in step.

It talks to the cluster and to Joulegate's API, never to the database.
"""
