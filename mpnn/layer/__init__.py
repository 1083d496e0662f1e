"""What a layer says: `message`, `aggregate`, `update`, and the schedule."""
