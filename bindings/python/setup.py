"""A wheel for one platform and every Python 3: the modules are pure, the library beside them is not."""

import os

import setuptools
from setuptools.command.bdist_wheel import bdist_wheel


class Distribution(setuptools.Distribution):
    def has_ext_modules(self):
        return True


class Wheel(bdist_wheel):
    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setuptools.setup(version=os.environ["RAG_VERSION"], distclass=Distribution, cmdclass={"bdist_wheel": Wheel})
