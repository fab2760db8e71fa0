"""What builds the box: trusted, and the last trusted code before a submission's.

`execution` puts a task into a scratch folder, runs it apart and takes out what was declared;
`sandbox` chooses how to isolate; `namespaces` enters Linux namespaces; `supervisor` watches and
kills. What runs in the box is `labkit.grading.inside`.
"""
