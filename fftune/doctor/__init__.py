"""Does the net hide its gradients, and can its evaluation be believed?"""
