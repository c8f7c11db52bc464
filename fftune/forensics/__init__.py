"""Forensics of verification sets: was this set touched by a false friend, and how sure is that?"""
