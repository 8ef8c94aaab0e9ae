"""The account of a rehearsal: an emulator of AWS, what it lacks, and the deployment of templates into it.

Belongs here: answers of AWS's APIs, and the record of calls. Does not belong here: processes of tasks (tasks), data
(servers).
"""
