"""nbgrader's configuration. The folder that it lies in is nbgrader's course folder: this one, or any that gets a copy.

submitted/STUDENT/LAB/LAB.ipynb -> autograded/, feedback/ and gradebook.db, all in that folder.
"""

from course_utils.grading.course_folder import mend_nbgrader
from course_utils.units import ROOT

mend_nbgrader()
c = get_config()  # noqa: F821 (nbgrader defines it)

c.CourseDirectory.source_directory = str(ROOT / "solutions")
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "*.md"]

# The labs as `course build` makes them; those in labs/ stay as they are
c.CourseDirectory.release_directory = "release"
c.GenerateAssignment.preprocessors = [
    "course_utils.grading.autograde.ReleaseLab",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# No kernel runs what was handed in: it goes through the sandbox of `course grade`
c.Autograde.exporter_class = "course_utils.grading.autograde.SubmissionExporter"
c.Autograde.sanitize_preprocessors = []
c.Autograde.autograde_preprocessors = [
    "course_utils.grading.autograde.GradeInSandbox",
    "course_utils.grading.autograde.SaveGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Late is what comes after the due date that you set in formgrader, or by `nbgrader db assignment add LAB --duedate=...`
c.AssignLatePenalties.plugin_class = "course_utils.grading.export.LatePenalty"
c.LatePenalty.share_per_day = 0.1  # of the points earned, for each day that has begun
c.LatePenalty.grace_minutes = 10
