"""A cluster's definition as the documents by which Kubernetes, AWS and GCP start it."""
